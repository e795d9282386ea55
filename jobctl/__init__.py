"""jobctl: a marketplace's background jobs as honest commands."""

__version__ = "0.1.0"
