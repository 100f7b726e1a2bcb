"""The engine: a resident SGLang server that generates, on a GPU or, through our platform plug-in, without one.

server.py starts and stops it, client.py talks to it; both are light. The rest runs inside the server:
serve.py (the process), platform.py and plugin.py (SGLang's entry points), sglang_models/ and
sglang_processors/ (the policy's LLM with precomputed audio embeddings). Left out: tokenizing (the server
sees token ids only) and any second engine.

    arl engine start --policy policy/
"""
