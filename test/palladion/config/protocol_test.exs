defmodule Palladion.Config.ProtocolTest do
  use ExUnit.Case, async: true

  alias Palladion.Config

  defp parse(options), do: Config.parse([name: __MODULE__, tls: false] ++ options)

  defp protocol!(options) do
    assert {:ok, config} = parse(protocol: options)
    config.protocol
  end

  defp problem(options) do
    assert {:error, %{problems: [problem]}} = parse(options)
    {problem.path, problem.reason, problem.message}
  end

  defp message(options) do
    {_path, _reason, message} = problem(protocol: options)
    message
  end

  test "without a version the newest is found, and nothing is compressed" do
    assert %{version: nil, compression: nil} = protocol!([])
    assert %{version: nil, compression: nil} = protocol!(version: nil, compression: nil)
  end

  test "a version and a compression are what is given" do
    for version <- [3, 4, 5, nil],
        compression <- [nil, :lz4, :snappy],
        {version, compression} != {5, :snappy} do
      given = protocol!(version: version, compression: compression)
      assert {given.version, given.compression} == {version, compression}
    end
  end

  test "both are in what the native library gets" do
    assert {:ok, config} = parse(protocol: [version: 3, compression: :snappy])
    assert %{protocol_version: 3, compression: :snappy} = Config.to_native(config)
    assert {:ok, config} = parse([])
    assert %{protocol_version: nil, compression: nil} = Config.to_native(config)
  end

  test "the versions that nobody speaks any more are refused as such" do
    for version <- [1, 2] do
      assert problem(protocol: [version: version]) ==
               {[:protocol, :version], :invalid_value,
                "is #{version}, which is not spoken any more; the versions are 3, 4 and 5"}
    end
  end

  test "others are refused, with what may be meant" do
    assert message(version: 6) == "must be 3, 4 or 5, got: 6"
    assert message(version: :newest) == "must be 3, 4 or 5, got: :newest"
    assert message(version: [4]) == "must be 3, 4 or 5, got: [4]"
    assert message(version: :v4) == "must be 3, 4 or 5, got: :v4; did you mean 4?"
    assert message(version: "5") == ~s(must be 3, 4 or 5, got: "5"; did you mean 5?)
  end

  test "a compression is one of two" do
    assert message(compression: :lz5) == "must be :lz4 or :snappy, got: :lz5"
    assert message(compression: ["lz4"]) == ~s(must be :lz4 or :snappy, got: ["lz4"])
    assert message(compression: "lz4") =~ ~s(got: "lz4"; did you mean :lz4?)
    assert message(compression: :LZ4) =~ "got: :LZ4; did you mean :lz4?"
    assert message(compression: "Snappy") =~ "did you mean :snappy?"

    for off <- [false, :none, "none"] do
      assert message(compression: off) =~ "; leave it out, and nothing is compressed"
    end
  end

  test "version 5 has no Snappy" do
    assert {[:protocol, :compression], :conflict, message} =
             problem(protocol: [version: 5, compression: :snappy])

    assert message =~ "version 5 of the protocol doesn't have; take :lz4, or leave out version:"
  end

  test "in another place, or by another name, they are told where they belong" do
    for {option, text} <- [
          {:compression, "it belongs into protocol: [...]"},
          {:version, "it belongs into protocol: [...]"},
          {:protocol_version, "it is called protocol: [version: ...] here"},
          {:compressor,
           "it is called protocol: [compression: :lz4] or [compression: :snappy] here"},
          {:lz4, "it is called protocol: [compression: :lz4] here"},
          {:snappy, "it is called protocol: [compression: :snappy] here"}
        ] do
      assert problem([{option, true}]) == {[option], :unknown_option, "unknown option, #{text}"}
    end

    for {option, text} <- [
          {:lz4, "it is called compression: :lz4 here"},
          {:protocol_version, "it is called version: ... here"},
          {:compressor, "it is called compression: :lz4 or :snappy here"},
          {:compresion, "did you mean :compression?"}
        ] do
      assert message([{option, true}]) == "unknown option, #{text}"
    end
  end
end
