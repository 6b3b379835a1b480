"""People's accounts, part by part: facts and rules that the page of the account puts together."""
