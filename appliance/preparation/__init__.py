"""What a configuration needs to run, examined without taking effect.

A start, a reload, a plan and a check all call ``prepare``, and differ only in where they stop after it. Every file that
can be opened is, every address is bound and released, every plugin is loaded in a process of its own, and nothing is
created. So a check has the sentence of every fault that would end a start.
"""
