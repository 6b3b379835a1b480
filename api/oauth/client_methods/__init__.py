"""How clients prove who they are, beside a secret of ours: one page for each way."""
