"""The engine's C API: the room below `hb.wasm`, for what the engine's Python binding does not offer, or too slowly."""
