defmodule Palladion.Config.FilesTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1, write!: 3]

  alias Palladion.Config.Files

  @mkfifo System.find_executable("mkfifo") == nil and "the mkfifo command is not installed"

  setup :tmp_dir

  test "a file is read as a whole", %{tmp_dir: dir} do
    for size <- [0, 1, 1_048_576, 3_000_000] do
      bytes = :binary.copy("x", size)
      path = write!(dir, "file", bytes)
      assert Files.read(path) == {:ok, bytes}
      assert Files.read(String.to_charlist(path)) == {:ok, bytes}
    end
  end

  test "one that is too large is refused, up to there none is", %{tmp_dir: dir} do
    for {size, answer} <- [{67_108_864, :ok}, {67_108_865, {:error, :too_large}}] do
      path = write!(dir, "file", "")
      File.open!(path, [:write], &:file.pwrite(&1, size - 1, "x"))
      result = Files.read(path)
      assert result == answer or elem(result, 0) == answer
    end

    assert Files.format_error(:too_large) =~ "64 MiB"
  end

  test "devices are refused, which never end" do
    assert Files.read("/dev/zero") == {:error, :not_regular}
    assert Files.format_error(:not_regular) =~ "regular file"
  end

  @tag skip: @mkfifo
  test "pipes are refused, which wait for their other end", %{tmp_dir: dir} do
    path = Path.join(dir, "pipe")
    {_, 0} = System.cmd("mkfifo", [path])
    assert Files.read(path) == {:error, :not_regular}
  end

  describe "contents/1" do
    test "are the same wherever and whenever they were written", %{tmp_dir: dir} do
      [one, two] = for name <- ["one", "two"], do: write!(dir, name, "content")
      File.touch!(two, 1_000_000_000)
      assert %{^one => same, ^two => same} = Files.contents([one, two])
      assert byte_size(same) == 32
      write!(dir, "two", "contents")
      assert %{^two => other} = Files.contents([two])
      assert other != same
      write!(dir, "two", "")
      assert %{^two => empty} = Files.contents([two])
      assert empty != other
    end

    test "are also those that can't be read", %{tmp_dir: dir} do
      missing = Path.join(dir, "missing")

      assert Files.contents([missing, dir]) == %{
               missing => {:error, :enoent},
               dir => {:error, :eisdir}
             }

      assert Files.contents([]) == %{}
    end
  end
end
