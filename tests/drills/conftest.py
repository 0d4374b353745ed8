from tests.support.postgres import data_folder

__all__ = ["data_folder"]
