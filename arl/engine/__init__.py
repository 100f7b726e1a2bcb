"""The engine: a resident SGLang server that generates, on a GPU or, through our platform plug-in, without one.

On the stages' side, all light: session.py finds, starts, wakes, syncs and proves it, rollout_stage.py and
sync_stage.py are what `arl rollout` and `arl sync` do, generate.py has the requests of a shard, client.py talks to it,
served_model.py says what a checkpoint is, server.py starts and stops it. Inside the server: serve.py (the process),
platform.py and plugin.py (SGLang's entry points), hooks.py (what changes in SGLang), sglang_models/ and
sglang_processors/ (the policy's LLM with precomputed audio embeddings). Left out: tokenizing (the server sees token
ids only) and any second engine.

    arl engine start --policy policy/
"""
