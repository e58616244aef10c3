from .curvature.threads import single_threaded as single_threaded
