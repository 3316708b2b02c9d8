"""Fashion-MNIST: photographs of clothes in the format of MNIST. Xiao, Rasul, Vollgraf, arXiv 1708.07747;
https://github.com/zalandoresearch/fashion-mnist. MIT licence, Zalando SE.
"""

from nasrun.datasets.files import File, Published
from nasrun.datasets.published import IdxDataset

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class FashionMnist(IdxDataset):
    """60,000 training and 10,000 test images of ten classes of clothes, 28 x 28 pixels, greyscale."""

    name = "fashion_mnist"
    shape = (1, 28, 28)
    counts = (60_000, 10_000)
    classes = CLASSES
    published = Published(
        folder="fashion-mnist",
        files=(
            File(
                "train-images-idx3-ubyte",
                47_040_016,
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            File(
                "train-labels-idx1-ubyte",
                60_008,
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            File(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            File(
                "t10k-labels-idx1-ubyte",
                10_008,
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
        homes=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        ),
        system="/usr/share/datasets/fashion-mnist",
        package="dataset-fashion-mnist",
    )
