"""MNIST: handwritten digits. LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
recognition", 1998; http://yann.lecun.com/exdb/mnist/. No licence comes with the files (usually quoted: CC BY-SA 3.0).
"""

from nasrun.datasets.files import File, Published
from nasrun.datasets.published import IdxDataset


class Mnist(IdxDataset):
    """60,000 training and 10,000 test images of the digits 0 to 9, 28 x 28 pixels, greyscale."""

    name = "mnist"
    mirrored = False
    shape = (1, 28, 28)
    counts = (60_000, 10_000)
    classes = tuple(str(digit) for digit in range(10))
    published = Published(
        folder="mnist",
        files=(
            File(
                "train-images-idx3-ubyte",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            File(
                "train-labels-idx1-ubyte",
                60_008,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            File(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            File(
                "t10k-labels-idx1-ubyte",
                10_008,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        homes=(
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            "http://yann.lecun.com/exdb/mnist",
        ),
    )
