"""How clients register themselves (RFC 7591, RFC 7592): the tokens that let them, and what they may ask for."""
