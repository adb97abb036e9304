"""How much a model needs and what it will give, before anything runs: sizes, speed, replicas.

    shape, known_models    what a model is made of          devices   what it runs on
    memory                 where a device's bytes go        mix       how long requests are
    step_time              how long a step takes            service   what a replica gives
    fleet                  replicas, GPUs, money            fragile   what makes the plan break
    estimate               all of it for one resource

Sizes are the engine's own arithmetic and exact; speed is an estimate, and says of what.
"""
