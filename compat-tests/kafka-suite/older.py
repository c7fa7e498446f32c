#!/usr/bin/env python3
"""The suite's run.py with one suite more, `older`: test classes of the same jar that start their broker themselves (on
KafkaServerTestHarness), and so are not in its lists. Its shim runs them all the same.  older.py SUITE_FOLDER [options of run.py]"""
import importlib.util
import os
import sys

folder = sys.argv.pop(1)
spec = importlib.util.spec_from_file_location("ksuite_run", os.path.join(folder, "run.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.SUITES["older"] = [("kafka_2.13", lambda name, code: not module.CLUSTER.search(code))]
module.main()
