"""From the bytes of a photo to what the network reads: decode, EXIF, preprocess, measurements."""
