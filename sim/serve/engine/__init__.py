"""An engine with its scheduler and its pages of KV cache, and several of them."""
