"""Pictures of more than 8 bits a channel, as training and inference take them."""

from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_fsr.datasets.image_file import check_bgr, deep_picture
from mmseg_fsr.utils.pixel_range import PixelRange, check_pixel_range


@TRANSFORMS.register_module()
class ScaleTo8Bit(BaseTransform):
    """Scales what is deeper than 8 bits to 0..255, right after ``LoadImageFromFile``.

    ``LoadImageFromFile`` gives 8 bits whatever a file holds: Pillow cuts 16 bits off at
    255, and makes 0 of all of 0..1. This transform looks at the file's header, and
    reads a deeper file again: with a ``pixel_range``, values from its first to its
    second number are mapped linearly to 0..255, and clipped. Files of 8 bits stay as
    they are. Arrays that were given instead of a file are checked, see
    :func:`~mmseg_fsr.datasets.image_file.check_bgr`.

    Required keys are ``img`` and ``img_path``, which is None for an array. ``img``
    becomes (H, W, 3), BGR, uint8.

    Args:
        pixel_range: Two numbers, such as ``(0, 4095)``, or two percentiles of each
            image, such as ``('1%', '99%')``. Defaults to None, that of the item, which
            the data set has from ``metainfo=dict(pixel_range=...)``; without one,
            deeper pictures are an error.
        backend_args: That of ``LoadImageFromFile``. Defaults to None.

    Raises:
        ValueError: If ``pixel_range`` is no range.
    """

    def __init__(
        self, pixel_range: PixelRange | None = None, backend_args: dict | None = None
    ) -> None:
        check_pixel_range(pixel_range)
        self.pixel_range = pixel_range
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Checks and scales one image.

        Raises:
            TypeError: If the image is no array.
            ValueError: If it is deeper than 8 bits and there is no ``pixel_range``, or
                is an array of another shape.
        """
        pixel_range = self.pixel_range
        if pixel_range is None:
            pixel_range = results.get("pixel_range")
        path = results.get("img_path")
        if path is None:
            results["img"] = check_bgr(results["img"], pixel_range)
            return results
        deep = deep_picture(path, pixel_range, self.backend_args)
        if deep is not None:
            results["img"] = deep[..., ::-1].astype(results["img"].dtype)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(pixel_range={self.pixel_range})"
