"""`tf-frozen export`: writes the detector of a run as a SavedModel."""

import argparse
import logging

HELP = "write a run's detector as a SavedModel (signatures and units: docs/serving.md)"
EXAMPLE = "tf-frozen export --model_dir runs/quickstart --output runs/quickstart/saved_model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this command."""
    parser.add_argument("--model_dir", required=True, metavar="DIR", help="run directory of tf-frozen train")
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder to write; an export is replaced. Signatures: serving_default takes images, uint8 [N, H, W, 3], "
        "image_bytes takes files, strings [N]; both give detection_boxes (y1, x1, y2, x2 in pixels of the image), "
        "detection_scores, detection_classes (category ids) and num_detections",
    )
    parser.add_argument("--checkpoint", metavar="C", help="path or name, as ckpt-300 (default: the run's best)")
    parser.add_argument(
        "--gin_param",
        action="append",
        default=[],
        metavar="B",
        help="'NAME = value', repeatable; for example 'RCNN.test_time_augmentation = None'",
    )


def run(args: argparse.Namespace) -> None:
    """Exports the detector with its averaged weights, where the run keeps an average."""
    from tf_frozen.export.saved_model import export
    from tf_frozen.training.opening import load_run
    from tf_frozen.training.run import Run

    load_run(args.model_dir, args.gin_param)
    trained = Run(args.model_dir)
    folder = export(trained.restored_detector(args.checkpoint), trained.categories, args.output, trained.magnification)
    logging.getLogger(__name__).info("SavedModel: %s", folder)
