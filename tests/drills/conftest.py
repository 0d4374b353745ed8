from tests.support.postgres import data_folder, postgres

__all__ = ["data_folder", "postgres"]
