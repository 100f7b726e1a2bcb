"""`arl decode` of CosyVoice3."""

from arl.models.cosyvoice.decode import Decoding
from arl.models.cosyvoice.layout import VERSION_3
from arl.models.cosyvoice3.flow import Flow
from arl.models.cosyvoice3.hift import Hift

DECODING = Decoding(VERSION_3, Flow.of, Hift)
