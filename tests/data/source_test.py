"""A data source of one's own: images held in memory, which no file of the package knows."""

import pathlib
import re
import tempfile
import zipfile

import gin
import numpy as np
import pytest
import tensorflow as tf

import tf_frozen as tff
from tests.python_test import TINY
from tf_frozen.data.augmentation.scale_jitter import ScaleJitter
from tf_frozen.data.category import Category
from tf_frozen.data.checks.examples import check_examples
from tf_frozen.data.example import Example
from tf_frozen.data.pipeline import TrainBatches, eval_batches
from tf_frozen.data.reading import named
from tf_frozen.data.source import DataSource
from tf_frozen.data.sources.image_files import ImageFiles
from tf_frozen.data.subset import Subset
from tf_frozen.data.summary import summary_of
from tf_frozen.errors import ConfigError, DataError

SIDE = 40


@gin.configurable
class Squares(DataSource):
    """Grey pictures with a bright square each, of two classes in turn, as PNG in memory."""

    def __init__(self, count=4):
        self.count, self.categories = count, [Category(3, "small"), Category(8, "large")]
        self.examples, self.contents_of = [], []
        for number in range(count):
            side = (10, 20)[number % 2]
            picture = np.full([SIDE, SIDE, 3], 60 + number, np.uint8)
            picture[5 : 5 + side, 8 : 8 + side] = 240
            self.contents_of.append(tf.io.encode_png(picture).numpy())
            self.examples.append(Example(number, SIDE, SIDE, [[5, 8, 5 + side, 8 + side]], [1 + number % 2]))

    def read(self, index):
        return tf.numpy_function(lambda index: self.contents_of[index], [index], tf.string)


class Vanishing(list):
    """Images of which one is lost when some have been read."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        if index == 4 and self.reads > 10:
            raise KeyError("it is gone")
        return super().__getitem__(index)


class Broken(Squares):
    """The third picture cannot be read."""

    def read(self, index):
        def look_up(index):
            if index == 2:
                raise KeyError("third")
            return self.contents_of[index]

        return tf.numpy_function(look_up, [index], tf.string)


class ContractTest(tf.test.TestCase):
    def files(self, source):
        """The same pictures as files."""
        paths = [f"{self.get_temp_dir()}/{example.image_id}.png" for example in source.examples]
        for path, contents in zip(paths, source.contents_of, strict=True):
            pathlib.Path(path).write_bytes(contents)
        return ImageFiles(source.examples, source.categories, paths)

    def test_batches_are_those_of_the_same_pictures_in_files(self):
        def batches(source):
            train = TrainBatches(source, (SIDE, SIDE), 3, seed=2, placement=ScaleJitter(0.5, 2.0))
            return [*train.dataset(0, 3), *eval_batches(source, (SIDE, SIDE), 3)]

        memory = Squares()
        for found, expected in zip(batches(memory), batches(self.files(memory)), strict=True):
            tf.nest.map_structure(self.assertAllEqual, found, expected)

    def test_the_ground_truth_is_a_coco_json(self):
        truth = Squares(2).ground_truth
        self.assertEqual(truth["images"], [{"id": number, "height": SIDE, "width": SIDE} for number in (0, 1)])
        self.assertEqual(truth["categories"], [{"id": 3, "name": "small"}, {"id": 8, "name": "large"}])
        of_both = {"bbox": [8, 5, 20, 20], "area": 400, "iscrowd": 0}
        self.assertEqual(truth["annotations"][1], {"id": 2, "image_id": 1, "category_id": 8, **of_both})

    def test_an_image_a_summary_and_names(self):
        source = Squares()
        self.assertAllEqual(source.image(1)[24, [27, 28]], [[240] * 3, [61] * 3])
        self.assertEqual((str(source), source.describe(3)), ("Squares", "Squares[3]"))
        summary = summary_of(source, (SIDE, SIDE))
        self.assertEqual((summary.images, summary.boxes_of_class), (4, {"small": 2, "large": 2}))
        prints = {source.fingerprint(index) for index in range(4)}
        self.assertLen(prints, 4)
        source.contents_of[0] = source.contents_of[1]
        self.assertNotEqual({source.fingerprint(index) for index in range(4)}, prints)

    def test_a_subset_reads_and_names_what_the_whole_does(self):
        whole = Squares()
        part = Subset(whole, [3, 1])
        self.assertEqual([example.image_id for example in part.examples], [3, 1])
        self.assertAllEqual(part.image(0), whole.image(3))
        self.assertEqual((part.describe(1), part.fingerprint(0)), ("Squares[1]", whole.fingerprint(3)))
        self.assertEqual([row["image_id"] for row in part.ground_truth["annotations"]], [1, 3])
        ((images, _),) = eval_batches(part, (SIDE, SIDE), 2)
        self.assertAllEqual(images[:, 0, 0, 0], [63, 61])

    def test_the_source_of_the_page(self):
        page = pathlib.Path(tff.__file__).parents[1] / "docs" / "python.md"
        (code,) = re.findall(r"```python\n(import zipfile.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        pictures = [np.full([480, 640, 3], grey, np.uint8) for grey in (50, 90)]
        path = f"{self.get_temp_dir()}/birds.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for number, picture in enumerate(pictures):
                archive.writestr(f"{number}.png", tf.io.encode_png(picture).numpy())
        names = {"__name__": "birds"}
        exec(code, names)
        source = names["Birds"](path)
        self.assertEmpty(check_examples(source))
        ((images, targets),) = eval_batches(source, (480, 640), 2)
        self.assertAllEqual(images, pictures)
        self.assertAllEqual(targets["boxes"][:, 0], [[120, 160, 360, 480]] * 2)

    def test_a_class_without_read_cannot_be_made(self):
        with self.assertRaisesRegex(TypeError, "read"):
            type("Nothing", (DataSource,), {})()


class FaultsTest(tf.test.TestCase):
    def fault(self, source):
        with self.assertRaisesRegex(DataError, r"Squares\[2\], image 2: |Broken\[2\], image 2: ") as caught:
            with named(source):
                list(eval_batches(source, (SIDE, SIDE), 2))
        return caught.exception.faults[0]

    def test_an_image_that_cannot_be_decoded_is_named(self):
        source = Squares()
        source.contents_of[2] = source.contents_of[2][:60]
        self.assertEqual(self.fault(source).file, "Squares[2]")

    def test_an_image_of_another_size_is_named(self):
        source = Squares()
        source.contents_of[2] = tf.io.encode_png(np.zeros([30, 20, 3], np.uint8)).numpy()
        fault = self.fault(source)
        self.assertEqual(fault.kind, "changed_image")
        self.assertEqual(fault.message, "the image has 20 x 30 pixels, but had 40 x 40 when it was checked")

    def test_an_image_that_cannot_be_read_is_named_with_the_reason(self):
        fault = self.fault(Broken())
        self.assertEqual(fault.kind, "unreadable_image")
        self.assertIn("KeyError: 'third'", fault.message)

    def test_faults_of_examples(self):
        source = Squares(9)
        bad = {
            0: {"boxes": [[5, 8, 5, 20]], "classes": [1]},
            1: {"boxes": [[5, 8, 41, 20]], "classes": [1]},
            2: {"boxes": [[np.nan, 8, 15, 20]], "classes": [1]},
            3: {"boxes": [[5, 8, 15, 20]], "classes": [3]},
            4: {"boxes": [[5, 8, 15, 20]], "classes": [0]},
            5: {"boxes": [5, 8, 15, 20], "classes": [1]},
            6: {"boxes": [[5, 8, 15, 20]], "classes": [1, 2]},
        }
        for number, arrays in bad.items():
            source.examples[number] = Example(number, SIDE, SIDE, **arrays)
        source.examples[8] = source.examples[7]
        lines = "\n".join(map(str, check_examples(source)))
        for line in (
            r"Squares\[0\], image 0, box \[5.0, 8.0, 5.0, 20.0\]: boxes\[0\] has no area, or reaches .*40 px high",
            r"Squares\[1\], image 1, box \[5.0, 8.0, 41.0, 20.0\]: ",
            r"Squares\[2\], image 2, box \[nan, 8.0, 15.0, 20.0\]: ",
            r"Squares\[3\], image 3: classes\[0\] is 3; there are 2 categories",
            r"Squares\[4\], image 4: classes\[0\] is 0; ",
            r"Squares\[5\], image 5: boxes has the shape \[4\], not \[4, 4\]",
            r"Squares\[6\], image 6: classes has the shape \[2\], not \[1\]",
            r"Squares\[7\], image 7: 2 examples have this image_id",
        ):
            self.assertRegex(lines, line)
        self.assertEmpty(check_examples(Squares()))
        self.assertEqual([fault.kind for fault in check_examples(Squares(0))], ["no_images"])
        source = Squares(1)
        source.examples[0] = Example(0, SIDE, SIDE, [], [])
        self.assertEqual([fault.kind for fault in check_examples(source)], ["no_boxes"])


class RunTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        gin.clear_config()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def detector(self):
        return tff.retinanet(num_classes=2, frame=(32, 32), gin_params=TINY)

    @pytest.mark.slow
    def test_a_run_trains_is_scored_and_drawn_and_is_opened_again(self):
        data = Squares(6)
        data.contents_of = Vanishing(data.contents_of)
        settings = {"train_steps": 12, "batch_size": 2, "evaluate_every": 0}
        run = tff.Run(self.folder / "run", self.detector(), data, lambda: Squares(3), **settings)
        with self.assertRaisesRegex(DataError, r"Squares\[4\], image 4: cannot be read \(KeyError.*\n.*resumes from"):
            run.train()
        data.contents_of.reads = -1000
        self.assertTrue(run.train())
        scorer = run.evaluate()
        self.assertIsNotNone(scorer.metrics["AP"])
        self.assertEqual([row["category"] for row in scorer.per_class], ["small", "large"])
        scorer.write(self.folder / "predictions")
        drawn = sorted(path.name for path in (self.folder / "predictions").glob("*.png"))
        self.assertEqual(drawn, [f"Squares[{number}].png" for number in range(3)])
        self.assertIn("train_data/Squares.count = 6", (self.folder / "run" / "config.gin").read_text())
        self.assertEqual(tff.open_run(self.folder / "run").evaluate().metrics, scorer.metrics)

    def test_what_is_no_data_source_or_faulty_ends_before_the_first_step(self):
        with self.assertRaisesRegex(ConfigError, r"Run.train_data is \[\]; it must be an instance of DataSource"):
            tff.Run(self.folder / "list", self.detector(), [], Squares())
        with self.assertRaisesRegex(ConfigError, "The data of a run are a list; they must be a DataSource"):
            tff.Run(self.folder / "list", self.detector(), lambda: [], Squares(), train_steps=2).train()
        with self.assertRaisesRegex(DataError, "The examples of Squares are faulty.\nno_images"):
            tff.Run(self.folder / "none", self.detector(), Squares(0), Squares(), train_steps=2).train()


if __name__ == "__main__":
    tf.test.main()
