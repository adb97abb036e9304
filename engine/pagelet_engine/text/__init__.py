"""Text to token ids and back: tokenizer, chat template, incremental decoding, stop strings.

Runs in the API process only; the engine process sees token ids and nothing else. No torch.
"""
