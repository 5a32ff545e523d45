"""Streams of frames as events: a camera, queues, a filter of frames that change nothing, and what shows results."""
