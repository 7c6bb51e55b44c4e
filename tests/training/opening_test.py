from pathlib import Path

import tensorflow as tf

from tests.config.toys import RUN, GinTest
from tf_frozen.config.record import save_config
from tf_frozen.training.opening import load_run


class LoadRunTest(GinTest):
    def test_a_saved_run_is_built_without_the_weights_that_it_began_from(self):
        for mode, loaded in (("frozen", "frozen_random"), ("fine_tune", "scratch"), ("scratch", "scratch")):
            self.load(f"{RUN}ToyRun.name = %BACKBONE_MODE\nBACKBONE_MODE = '{mode}'")
            save_config("run")
            load_run("run")
            self.assertEqual(self.build().name, mode)  # It is not known what the checkpoints hold.
            record = '{"start": {"fingerprints": {}}, "from_step": 0, "left_out": {"variables": %s}}'
            for text, name in ((record % 3, mode), (record % 0, loaded), ("{}", mode), ("[1]", mode)):
                Path("run/freezing.json").write_text(text)
                load_run("run")
                self.assertEqual(self.build().name, name)
            Path("run/freezing.json").unlink()


if __name__ == "__main__":
    tf.test.main()
