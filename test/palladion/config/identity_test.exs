defmodule Palladion.Config.IdentityTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Config.Identity
  alias Palladion.Secret
  alias Palladion.Test.Certificates, as: Make

  @openssl System.find_executable("openssl") == nil and "the openssl command is not installed"

  setup :tmp_dir

  setup_all do
    %{chain: Make.chain(), other: Make.chain()}
  end

  setup %{tmp_dir: dir, chain: chain} do
    %{
      certificate: Make.write!(dir, "client.pem", Make.pem([chain.leaf, chain.intermediate])),
      key: Make.write!(dir, "client.key", Make.key_pem(chain.key))
    }
  end

  defp parse(options) do
    [certfile: nil, keyfile: nil, password: nil]
    |> Keyword.merge(options)
    |> Map.new()
    |> Identity.parse()
  end

  defp problems(options) do
    assert {{[], nil}, problems} = parse(options)
    refute inspect(problems) =~ "hunter2"
    Enum.map(problems, &{&1.path, &1.reason})
  end

  defp chain_of(options) do
    assert {{chain, {format, %Secret{}}}, []} = parse(options)
    {chain, format}
  end

  test "none is fine" do
    assert parse([]) == {{[], nil}, []}
  end

  test "a certificate with its chain, and its key", context do
    %{chain: chain, tmp_dir: dir} = context

    assert chain_of(certfile: context.certificate, keyfile: context.key) ==
             {[chain.leaf, chain.intermediate], :sec1}

    der = Make.write!(dir, "client.der", chain.leaf)
    key = Make.write!(dir, "key.der", elem(chain.key, 1))
    assert chain_of(certfile: der, keyfile: key) == {[chain.leaf], :sec1}
  end

  test "both in one file, in any order", %{chain: chain, tmp_dir: dir} do
    certificate = Make.pem([chain.leaf])
    key = Make.key_pem(chain.key, :pkcs8)

    for content <- [certificate <> key, key <> certificate] do
      file = Make.write!(dir, "bundle.pem", content)
      assert chain_of(certfile: file) == {[chain.leaf], :pkcs8}
      assert chain_of(certfile: file, keyfile: file) == {[chain.leaf], :pkcs8}
    end
  end

  @tag skip: @openssl
  test "an encrypted key", %{certificate: certificate, key: key, chain: chain} do
    encrypted =
      Make.openssl!(key, "encrypted.key", ~w(pkcs8 -topk8 -v2 aes-256-cbc -passout pass:hunter2))

    for password <- ["hunter2", ~c"hunter2", fn -> "hunter2" end, fn -> ~c"hunter2" end] do
      assert chain_of(certfile: certificate, keyfile: encrypted, password: password) ==
               {[chain.leaf, chain.intermediate], :sec1}
    end

    for {password, path, reason} <- [
          {nil, :password, :missing_password},
          {"hunter3", :password, :wrong_password},
          {"", :password, :empty},
          {:hunter2, :password, :invalid_value},
          {fn -> raise "hunter2" end, :password, :function_failed},
          {Secret.wrap("hunter2"), :password, :invalid_value}
        ] do
      assert problems(certfile: certificate, keyfile: encrypted, password: password) ==
               [{[:tls, path], reason}]
    end
  end

  test "one without the other", %{certificate: certificate, key: key} do
    assert problems(certfile: certificate) == [{[:tls, :certfile], :missing_key}]
    assert problems(keyfile: key) == [{[:tls, :keyfile], :missing_certificate}]
    assert problems(password: "hunter2") == [{[:tls, :password], :conflict}]
  end

  test "another certificate's key", context do
    other = Make.write!(context.tmp_dir, "other.key", Make.key_pem(context.other.key))

    assert problems(certfile: context.certificate, keyfile: other) ==
             [{[:tls, :keyfile], :key_mismatch}]
  end

  test "a chain in the wrong order", %{chain: chain, key: key, tmp_dir: dir} do
    file = Make.write!(dir, "order.pem", Make.pem([chain.intermediate, chain.leaf]))

    assert problems(certfile: file, keyfile: key) ==
             [{[:tls, :certfile], :certificate_order}]
  end

  test "both bad files are told, with their names", %{tmp_dir: dir} do
    certificate = Make.write!(dir, "bad.pem", "")
    key = Path.join(dir, "none.key")

    assert {_, [first, last]} = parse(certfile: certificate, keyfile: key)
    assert %{path: [:tls, :certfile], reason: :empty_file} = first
    assert %{path: [:tls, :keyfile], reason: :unreadable} = last
    assert first.message =~ "bad.pem"
    assert last.message =~ "none.key"
  end

  test "one bad file is one problem", %{tmp_dir: dir} do
    assert problems(certfile: Path.join(dir, "none.pem")) == [{[:tls, :certfile], :unreadable}]
  end

  test "a key where the certificate belongs", %{key: key} do
    assert problems(certfile: key, keyfile: key) == [{[:tls, :certfile], :no_certificate}]
  end
end
