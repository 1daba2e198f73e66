"""Checks of sparse tensors on the card."""

import torch


def coo(device="cuda"):
    return torch.sparse_coo_tensor([[0, 1], [1, 0]], [2.0, 3.0], (2, 2), device=device)


def a_sparse_tensor_says_where_it_is():
    x = coo()
    assert (x.device.type, x.is_cuda, x.is_sparse, x.type()) == ("cuda", True, True, "torch.cuda.sparse.FloatTensor")
    assert x.coalesce().indices().is_cuda
    assert x.cpu().device.type == "cpu"
    assert torch.equal(x.to_dense().cpu(), torch.tensor([[0.0, 2.0], [3.0, 0.0]]))


def sparse_times_dense_has_gradients():
    dense = torch.eye(2, device="cuda", requires_grad=True)
    torch.sparse.mm(coo(), dense).sum().backward()
    assert dense.grad.tolist() == [[3, 3], [2, 2]]


def a_change_in_place_is_seen():
    x = coo()
    x.mul_(2)
    assert x.to_dense().tolist() == [[0, 4], [6, 0]]
    y = coo()
    y.add_(x)
    assert y.to_dense().tolist() == [[0, 6], [9, 0]]


def compressed_rows_go_there_and_back():
    x = coo().to_dense().to_sparse_csr()
    assert x.crow_indices().is_cuda
    assert (x @ torch.eye(2, device="cuda")).tolist() == [[0, 2], [3, 0]]
    assert x.to_dense().tolist() == [[0, 2], [3, 0]]


def an_embedding_with_sparse_gradients_trains():
    embedding = torch.nn.Embedding(5, 3, sparse=True).cuda()
    before = embedding.weight.detach().clone()
    embedding(torch.tensor([1, 2], device="cuda")).sum().backward()
    assert embedding.weight.grad.is_sparse
    torch.optim.SparseAdam(embedding.parameters()).step()
    assert (embedding.weight != before).any(1).tolist() == [False, True, True, False, False]
