"""What finds faces and their five landmarks in a photograph, behind one contract."""
