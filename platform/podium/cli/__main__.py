"""The command as a module, for who starts it by its interpreter."""

from podium.cli.main import main

if __name__ == "__main__":
    main()
