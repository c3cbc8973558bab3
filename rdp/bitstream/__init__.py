"""Files of learned codecs: arrays of symbols to bytes and back by range coding, and the container around them."""
