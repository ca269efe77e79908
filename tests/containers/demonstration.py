def check():
    return None
