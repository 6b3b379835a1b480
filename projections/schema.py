"""Where the read models' tables are declared: one metadata object, with one rule for naming keys and indexes."""

from sqlalchemy import BigInteger, Integer, MetaData

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING_CONVENTION)

ROW_POSITION = BigInteger().with_variant(Integer(), "sqlite")
"""A position as primary key: SQLite makes only an INTEGER PRIMARY KEY the table's own row id, which saves an index."""
