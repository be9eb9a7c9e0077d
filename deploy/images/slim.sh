#!/bin/sh
# What no process of ours reads: the tests that libraries ship, headers, static libraries. $1: the environment.
set -eu
cd "$1"/lib/python3.11/site-packages
for library in pandas numpy scipy sklearn statsmodels pyarrow matplotlib networkx dask distributed sqlalchemy; do
    if [ -d "$library" ]; then
        find "$library" -type d -name tests -prune -exec rm -rf {} +
    fi
done
rm -rf pyarrow/include pyarrow/src numpy/_core/include numpy/_core/lib
find . -name '*.a' -delete
