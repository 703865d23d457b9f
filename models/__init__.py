"""Networks only (import name `cgiaa_models`); learning lives in `cgiaa_training`."""
