"""The widgets of the screens; each draws from the picture and turns keys into messages or requests."""
