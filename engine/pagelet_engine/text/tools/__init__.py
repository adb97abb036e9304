"""Tool calls in text: how a model is told of tools, made to call them, and understood when it does.

The notation is that of Hermes, which Qwen's models were trained on and others follow when it is
explained to them: `<tool_call>` and `</tool_call>` around `{"name": ..., "arguments": {...}}`.
"""

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
