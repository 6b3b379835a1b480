"""The first-party dashboards' own endpoints: sign in, refresh, sign out, and a small page that does all three."""
