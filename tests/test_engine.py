def test_x(photos, tiny_bundle, run_cli):
    import numpy as np
    from cgiaa_cli.bundles import load
    from cgiaa_cli.inference.engine import Engine
    from cgiaa_cli.imaging.decode import decode
    from cgiaa_cli.imaging.preprocess import prepare
    e=Engine(load(str(tiny_bundle)))
    for f in sorted(photos.rglob("*.*")):
        s=e.run([prepare(decode(f.read_bytes(), suffix=f.suffix))])[0]
        print(f.name, s.score, s.technical, s.complexity, s.embedding.round(2))
    print(run_cli("--help"), run_cli("models","list"), run_cli("doctor"))
    r=run_cli("rank", photos); print(r.stdout, r.stderr)
    assert 0
