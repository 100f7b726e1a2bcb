"""`arl decode` of CosyVoice2."""

from arl.models.cosyvoice.decode import Decoding
from arl.models.cosyvoice.hift import Hift
from arl.models.cosyvoice.layout import VERSION_2
from arl.models.cosyvoice2.flow import Flow

DECODING = Decoding(VERSION_2, Flow.of, Hift)
