"""Black-box harness: decides how tests build bundles and drive a runtime; must not import pyrunc."""
