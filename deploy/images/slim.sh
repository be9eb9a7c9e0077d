#!/bin/sh
# Takes out of the environment $1 what no process of ours reads. What is left is imported afterwards (compile.py), so that a
# library which needed it stops the build.
set -eu
cd "$1"
rm -rf share/jupyter share/man
rm -rf evidently # its scripts once more, for notebooks
cd lib/python3.11/site-packages
# The tests that libraries ship, and their data.
for library in pandas numpy scipy sklearn statsmodels pyarrow matplotlib networkx dask distributed sqlalchemy gevent; do
    if [ -d "$library" ]; then
        find "$library" -type d -name tests -prune -exec rm -rf {} +
    fi
done
rm -rf onnx/backend/test jupyterlab_plotly
find statsmodels/datasets -type f -name '*.csv' -delete
# The pages of a server of Evidently's: of it, reports are written.
rm -rf evidently/ui/service/assets evidently/legacy/ui/assets
# Kubernetes' API once more, for asyncio: Dagster's launcher asks the other one.
rm -rf kubernetes/aio
# The scripts of Dask's dashboard as their authors read them: browsers are given the minified ones.
find bokeh/server/static/js -type f -name '*.js' ! -name '*.min.js' -delete
# What extensions are compiled from and against, the maps of minified scripts, notebooks.
rm -rf pyarrow/include pyarrow/src numpy/_core/include numpy/_core/lib
find . -type f \( -name '*.a' -o -name '*.c' -o -name '*.cc' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' -o -name '*.pyx' \
    -o -name '*.pxd' -o -name '*.map' -o -name '*.ipynb' \) -delete
# Arrow's network protocol: of Arrow, files are read and tables are held.
rm -f pyarrow/libarrow_flight.so* pyarrow/libarrow_python_flight.so* pyarrow/_flight*.so
# The same runtime once more, for programs in C: Python's extension has it within.
rm -f onnxruntime/capi/libonnxruntime.so.*
# The descriptions of AWS' services, of which botocore ships all: of these a client is made.
find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sqs ! -name sts ! -name sso ! -name sso-oidc ! -name signin \
    -exec rm -rf {} +
# Symbols for debuggers. Not in the folders *.libs: the makers of the wheels moved these files' parts about, and strip breaks them.
find . -type f -name '*.so*' ! -path './*.libs/*' -size +1M -exec strip --strip-unneeded {} +
