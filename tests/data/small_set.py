import json
import os
import shutil

import tensorflow as tf

from tf_frozen.data.checks import inspection
from tf_frozen.data.paths import resolve

TILES = ("train_0000_0000.jpg", "train_0345_0380.jpg")


class SmallSetTestCase(tf.test.TestCase):
    """A test with a data set on disk: two tiles of 400 x 400 px and three boxes, in `self.document`."""

    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.get_temp_dir(), "photos")
        self.annotations = os.path.join(self.get_temp_dir(), "train.json")
        os.makedirs(self.folder)
        for tile in TILES:
            shutil.copy(os.path.join(resolve("embedded:neon_trees/train"), tile), self.folder)
        images = [
            {"id": number, "file_name": tile, "width": 400, "height": 400} for number, tile in enumerate(TILES, 1)
        ]
        boxes = [(1, [10, 20, 30, 40]), (2, [0, 0, 400, 400]), (1, [350.5, 300, 20.25, 100])]
        annotations = [
            {"id": number, "image_id": image, "category_id": 5, "bbox": box, "area": 99, "iscrowd": 0}
            for number, (image, box) in enumerate(boxes, 11)
        ]
        categories = [{"id": 5, "name": "tree"}, {"id": 3, "name": "shrub"}]
        self.document = {"images": images, "annotations": annotations, "categories": categories}
        self.image, self.annotation = images[0], annotations[0]

    def write(self):
        """Writes `self.document` and returns what CocoJson and check ask for first."""
        with open(self.annotations, "w", encoding="utf-8") as file:
            json.dump(self.document, file)
        return self.annotations, self.folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def faults(self, check="decode"):
        return inspection.check(*self.write(), check)

    def only_fault(self, kind, check="decode"):
        """Returns the one fault of the data set, after making sure that it is of that kind."""
        faults = self.faults(check)
        self.assertEqual([fault.kind for fault in faults], [kind], faults)
        return faults[0]
