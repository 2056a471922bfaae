import json

from mmseg.datasets import PascalVOCDataset

from mmseg_fsr.datasets import COCO2014ImageLabelDataset

from .base import DatasetContract, foreground

VOC_PALETTE = PascalVOCDataset.METAINFO["palette"]


class TestVOC(DatasetContract):
    type = "VOCImageLabelDataset"

    def test_classes_and_palette_are_those_of_mmseg(self, voc_root):
        metainfo = self.build(voc_root).metainfo
        assert metainfo["classes"] == PascalVOCDataset.METAINFO["classes"]
        assert metainfo["palette"] == VOC_PALETTE


class TestCOCO2014(DatasetContract):
    type = "COCO2014ImageLabelDataset"

    def test_classes_are_in_the_order_of_the_category_ids(self):
        classes = COCO2014ImageLabelDataset.METAINFO["classes"]
        assert len(classes) == 81
        assert classes[:4] == ("background", "person", "bicycle", "car")
        # Ids 12, 26, 29 and 30 of COCO are empty: later ones move up.
        assert (classes[12], classes[80]) == ("stop sign", "toothbrush")

    def test_palette_goes_on_from_vocs(self):
        assert COCO2014ImageLabelDataset.METAINFO["palette"][:21] == VOC_PALETTE

    def test_names_of_categories_are_labels(self, voc_root):
        labels = dict(a=["person", "hot dog"], b=[], c=["toothbrush"])
        (voc_root / "image_labels.json").write_text(json.dumps(labels))
        assert foreground(self.build(voc_root)) == [[1, 53], [], [80]]
