"""Chat templates run where they can be killed: a process of their own, with a limit on its time.

    API process ──conversation──► worker (Jinja) ──text──► API process

A template comes with a model, so it is somebody else's program, and Jinja's sandbox bounds neither
time nor memory. A thread that runs one could never be stopped; a process is ended by the kernel.
`wire` says what they tell each other, `worker` is the process, `client` owns it.
"""
