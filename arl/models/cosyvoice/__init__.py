"""CosyVoice2 and Fun-CosyVoice3 as their folders are downloaded: what both versions have in common.

Left out: streaming, where text and speech alternate, and upstream's normalisation of texts: a text is spoken as it is.
"""
