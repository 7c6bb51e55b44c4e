"""Tests of export/predictor.py."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.export.stand_in import CATEGORIES, BrightBox, photo
from tf_frozen import errors
from tf_frozen.export.predictor import Predictor
from tf_frozen.export.saved_model import export


class PredictorTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.run_folder = folder.name
        trained = {"low": 0.5, "median": 1.0, "high": 2.0}
        export(BrightBox(), CATEGORIES, str(Path(folder.name, "saved_model")), trained)

    def test_takes_a_saved_model_or_the_run_that_holds_it(self):
        image = photo(160, 240, (40, 100, 120, 200))
        for folder in (self.run_folder, str(Path(self.run_folder, "saved_model"))):
            found = Predictor(folder).detect(image)
            self.assertAllClose(found.boxes[0], [40, 100, 120, 200], atol=2.5)
            self.assertAllEqual(found.classes, [90, 3])

    def test_knows_the_names_of_the_categories(self):
        self.assertEqual(Predictor(self.run_folder).names, {3: "oak", 90: "elm"})

    def test_keeps_what_reaches_the_threshold(self):
        predictor, image = Predictor(self.run_folder), photo(160, 240, (40, 100, 120, 200))
        self.assertLen(predictor.detect(image, 0.25).scores, 2)
        self.assertAllEqual(predictor.detect(image, 0.26).classes, [90])

    def test_warns_of_another_magnification_at_the_first_image_that_has_it_and_counts_at_the_end(self):
        folder, paths = Path(self.get_temp_dir()), []
        for name, size in (("a", (64, 96)), ("b", (640, 100)), ("c", (8, 8)), ("d", (700, 700))):
            paths.append(str(folder / f"{name}.png"))
            tf.io.write_file(paths[-1], tf.io.encode_png(np.zeros([*size, 3], np.uint8)))
        ids = dict(zip(paths, range(4), strict=True))
        with self.assertLogs("tf_frozen.export.predictor", "WARNING") as logs:
            said = []
            Predictor(self.run_folder).predict(paths, ids, show=lambda *found: said.append(len(logs.output)))
        self.assertEqual(said, [0, 1, 1, 1])
        self.assertIn(f"{paths[1]} (640 × 100) has 0.1 frame pixels for an image pixel", logs.output[0])
        self.assertIn("3 of 4 images are shown at another magnification than those trained on.", logs.output[1])
        self.assertLen(logs.output, 2)
        with self.assertNoLogs("tf_frozen.export.predictor", "WARNING"):
            Predictor(self.run_folder).predict(paths[:1], ids)

    def test_says_what_is_wrong_with_a_folder(self):
        folder = Path(self.get_temp_dir())
        with self.assertRaisesRegex(errors.RunError, "does not exist"):
            Predictor(str(folder / "nowhere"))
        with self.assertRaisesRegex(errors.RunError, "neither a SavedModel .* nor a run"):
            Predictor(str(folder))
        (folder / "config.gin").write_text("")
        with self.assertRaisesRegex(errors.RunError, f"has not been exported yet: export it to {folder}"):
            Predictor(str(folder))

    def test_a_saved_model_of_others_or_a_broken_one_cannot_be_loaded(self):
        foreign, broken = (Path(self.get_temp_dir(), name) for name in ("foreign", "broken"))
        tf.saved_model.save(tf.Module(), str(foreign))
        export(BrightBox(), CATEGORIES, str(broken))
        (broken / "saved_model.pb").write_bytes(b"half")
        for folder in (foreign, broken):
            with self.assertRaisesRegex(errors.RunError, f"Cannot load {folder}"):
                Predictor(str(folder))

    def test_half_a_saved_model_is_an_error_that_says_how_to_write_it_again(self):
        whole = Path(self.run_folder, "saved_model")
        for number, path in enumerate(sorted(path for path in whole.rglob("*") if path.is_file())):
            if path.name in ("saved_model.pb", "fingerprint.pb"):
                continue
            folder = Path(self.get_temp_dir(), f"half_{number}")
            shutil.copytree(whole, folder)
            (folder / path.relative_to(whole)).unlink()
            with self.subTest(path.name), self.assertRaisesRegex(errors.RunError, "export its run again"):
                Predictor(str(folder))
        folder = Path(self.get_temp_dir(), "shapes")
        shutil.copytree(whole, folder)
        wrong = f"Cannot load {folder}: "
        for name in ("classes.json", "tf_frozen.json"):
            path = folder / "assets.extra" / name
            content = path.read_text()
            for other in ("[1]", "{}", "null", '[{"id": 1}]', '{"image_size": 3, "magnification": {"low": "a"}}', ""):
                path.write_text(other)
                with self.subTest(name, other=other), self.assertRaisesRegex(errors.RunError, wrong):
                    Predictor(str(folder))
            path.write_text(content)


if __name__ == "__main__":
    tf.test.main()
