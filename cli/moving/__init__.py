"""`grantlog import …` and `grantlog export …`: how people and clients come from other systems, and go there."""
