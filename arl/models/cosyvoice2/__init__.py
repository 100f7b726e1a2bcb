"""CosyVoice2-0.5B from the folder as it is downloaded (arXiv 2412.10117)."""

from arl.models import Family
from arl.models.cosyvoice.family import CosyVoice
from arl.models.cosyvoice.layout import VERSION_2


class CosyVoice2(CosyVoice):
    name, takes, layout = "cosyvoice2", "CosyVoice2", VERSION_2


FAMILY: Family = CosyVoice2()
