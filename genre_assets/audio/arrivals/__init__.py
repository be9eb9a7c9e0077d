"""What the sensor on the raw bucket asks for.

`decision` compares a listing with what the tables hold (`materialised`); `looks` says what of the bucket is listed: all of
it, or what S3's `events` name.
Add here: a reason to run, or not to. Not here: listing, reading or writing the tables themselves.
"""
