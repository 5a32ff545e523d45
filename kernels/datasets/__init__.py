"""One adaptor a public format of measurements."""
