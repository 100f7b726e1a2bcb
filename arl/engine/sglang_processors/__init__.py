"""SGLang's external processor package (SGLANG_EXTERNAL_MM_PROCESSOR_PACKAGE)."""
