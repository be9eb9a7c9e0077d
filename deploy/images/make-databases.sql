-- One server, a database for each use.
CREATE DATABASE optuna;
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
