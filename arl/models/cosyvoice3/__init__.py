"""Fun-CosyVoice3-0.5B from the folder as it is downloaded (arXiv 2505.17589)."""

from arl.models import Family
from arl.models.cosyvoice.family import CosyVoice
from arl.models.cosyvoice.layout import VERSION_3


class CosyVoice3(CosyVoice):
    name, takes, layout = "cosyvoice3", "CosyVoice3", VERSION_3


FAMILY: Family = CosyVoice3()
