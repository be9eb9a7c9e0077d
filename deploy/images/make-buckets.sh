#!/bin/sh
# LocalStack runs this once it is ready.
for bucket in genre-raw genre-clients genre-features genre-mlflow genre-serving; do
    awslocal s3api create-bucket --bucket "$bucket" || true
done
