"""What every room uses and that uses no room: errors, files, images, streams, strict YAML, locks,
landmarks.
"""
